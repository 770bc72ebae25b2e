FROM x
RUN --mount=type=tmpfs,target=/x,size=much \
  true
