FROM a
RUN --network=mine x
