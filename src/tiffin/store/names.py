"""Names for containers that were given none: an adjective and somebody who understood something."""

from __future__ import annotations

import posix

_ADJECTIVES = """
able agile airy amber ample apt artful autumn awake balmy beaming bold brave breezy bright brisk
bubbly calm candid careful cheerful chatty civil clear clever coastal cosy crisp curious daring
dapper deft dewy eager early earnest easy elated epic fabled fair famous fancy fearless festive fine
fleet fluent fond frank fresh friendly frosty gallant gentle gifted glad gleaming golden graceful
grand happy hardy hearty honest hopeful humble jolly jovial joyful keen kind lively loyal lucid
lucky mellow merry mighty mindful modest neat nimble noble patient peaceful placid plucky polite
proud prudent quick quiet radiant rapid ready robust rosy rustic serene sharp silent silver sincere
sleek smart snug sober solar spry stellar steady stoic sturdy subtle sunny swift tender tidy
tranquil trusty upbeat valiant vivid warm wily wise witty zesty
""".split()  # noqa: SIM905 - a list literal would be four pages
_SURNAMES = """
abel ampere archimedes aryabhata avicenna babbage banneker bell bernoulli bohr boole bose brahe
braille cantor carson carver cauchy cavendish celsius chandra chomsky clarke copernicus coulomb
curie dalton darwin descartes dijkstra dirac eddington edison ehrlich einstein elion ellis erdos
euclid euler faraday fermat fermi feynman fibonacci fleming foucault fourier franklin galileo galois
gauss germain godel goldberg goodall hamilton hawking heisenberg henry herschel hertz hilbert
hodgkin hopper hubble huygens hypatia jackson johnson joule kapitsa kepler khwarizmi knuth
kovalevskaya lagrange lamarr laplace leavitt leibniz liskov lovelace maxwell mayer mccarthy
mcclintock meitner mendel mendeleev mirzakhani morse napier newton nightingale nobel noether ohm
pascal pasteur pauli payne perlman planck poincare ptolemy pythagoras raman ramanujan riemann
ritchie rontgen rubin russell rutherford sagan salk sanger shannon sinoussi sutherland swartz tesla
thales thompson torvalds turing vaughan volta wallace watt wien wiles wilson wozniak wright wu yalow
yonath
""".split()  # noqa: SIM905 - a list literal would be four pages


def random_name(attempt: int = 0) -> str:
    """Return a name by chance; from the fourth attempt on with a digit, so that one will be free."""
    number = int.from_bytes(posix.urandom(8), "little")
    number, first = divmod(number, len(_ADJECTIVES))
    number, second = divmod(number, len(_SURNAMES))
    tail = str(number % 10 ** (attempt // 10 + 1)) if attempt > 2 else ""
    return f"{_ADJECTIVES[first]}_{_SURNAMES[second]}{tail}"
