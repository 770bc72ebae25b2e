FROM x
RUN --mount=type=volume,target=/x \
  true
