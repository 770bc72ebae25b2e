# syntax=docker/dockerfile:1
# escape=\

# a comment
ARG VERSION=3.20 OTHER
FROM --platform=linux/amd64 alpine:${VERSION} AS Build
  run echo hello \
# a comment inside
   && echo "world # not a comment" \

   && true
ENV A=1 B="two words" C=three\ words D='$A'
ENV OLD style  value
LABEL "com.example.vendor"="ACME Incorporated" other=x
COPY --chown=user:group --chmod=755 a b dir/
COPY ["with space", "to/"]
ADD --unpack=false archive.tar.gz /x
WORKDIR /a b
USER nobody:nogroup
EXPOSE 80 443/tcp 8000-8010/udp
VOLUME /data /more
VOLUME ["/json", "/list"]
SHELL ["/bin/bash", "-c"]
CMD ["a", "b"]
CMD echo hi
ENTRYPOINT ["x"]
ENTRYPOINT exec top -b
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5m --timeout=1.5s --retries=3 CMD curl -f http://localhost/ || exit 1
HEALTHCHECK CMD ["true"]
HEALTHCHECK NONE
ONBUILD ADD . /app/src
MAINTAINER Some One <one@example.com>
RUN --network=none ["echo", "exec"]
RUN [ -f /x ] || true
FROM scratch
CMD []
