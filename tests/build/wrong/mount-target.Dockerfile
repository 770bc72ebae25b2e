FROM x
RUN --mount=type=cache,id=x \
  true
