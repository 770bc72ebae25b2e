FROM x
RUN --mount=from=$X,target=/x \
  true
