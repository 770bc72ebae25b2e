FROM x
RUN --mount=type=cahce,target=/x \
  true
