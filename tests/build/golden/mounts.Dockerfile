FROM debian AS base
RUN --mount=target=. true
RUN --mount=type=bind,from=base,source=/etc,dst=/there,rw true
RUN --mount=type=cache,destination=/root/.cache,id=pip,sharing=locked,mode=0700,uid=5,gid=6,from=base,src=/x true
RUN --mount=type=cache,target=/c,ro true
RUN --mount=type=tmpfs,target=/t,size=64m true
RUN --mount=type=secret,id=a --mount=type=secret,target=/root/.netrc,required,mode=0440,uid=1,gid=2 true
RUN --mount=type=secret,id=token,env=TOKEN true
RUN --mount=type=ssh,required=true --mount=type=ssh,id=other,target=/s,mode=0666 true
RUN --mount=type=cache,target=$HOME/.cache,readonly=false true
RUN --mount=type=bind,'"target=/a,b"' --network=none true
