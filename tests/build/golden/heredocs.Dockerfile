FROM debian
RUN <<EOF
# kept: no comment of ours
echo "a \
b"
EOF
RUN <<FILE1 cat > file1 && <<-"FILE2" cat > file2
first $X
FILE1
	second
	FILE2
COPY <<-EOT <<'RAW' plain /dir/
	tabbed ${FOO}
EOT
raw ${FOO}
RAW
ONBUILD RUN <<EOS
inner
EOS
RUN echo $((1 << 2)) 1<<2 "<<NOT" it\'s <<<word
2
