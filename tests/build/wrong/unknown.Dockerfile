FROM a

RNU make
