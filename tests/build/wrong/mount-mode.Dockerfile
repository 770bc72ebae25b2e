FROM x
RUN --mount=type=cache,target=/x,mode=99 \
  true
