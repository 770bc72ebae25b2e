FROM x
RUN --mount=type=bind,target=/x,sorce=a \
  true
