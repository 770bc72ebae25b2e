FROM x
RUN --mount=type=secret \
  true
