# comment first
# escape=`
from a
RUN one \   
  two
RUN end \\
CMD x \