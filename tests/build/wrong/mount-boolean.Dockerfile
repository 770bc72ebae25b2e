FROM x
RUN --mount=type=bind,target=/x,rw=perhaps \
  true
