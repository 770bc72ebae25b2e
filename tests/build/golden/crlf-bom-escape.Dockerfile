# escape=`
FROM windows`
:tag
COPY a c:\
RUN dir c:\ `
  /s
ENV A="x`"y"
