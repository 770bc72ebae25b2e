FROM x
RUN --mount=type=tmpfs,target=/x,id=a \
  true
