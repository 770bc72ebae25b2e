FROM x
RUN --mount=target=/ \
  true
