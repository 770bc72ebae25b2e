FROM x
RUN --mount=type=bind,/x \
  true
