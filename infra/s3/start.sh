#!/bin/sh
# Starts versitygw, by the program in the arguments. Before that, it gives the multipart uploads that a killed
# server was joining their names back: the server renames an upload before it joins the parts, and back if it
# fails. Under the other name no server finds it again (v1.8.0). ROOTS are the folders of its objects and their
# metadata.
set -eu
for root in ${ROOTS:-/objects /meta}; do
  for claimed in "$root"/*/.sgwtmp/multipart/*/*.inprogress; do
    [ -d "$claimed" ] || continue
    name=${claimed##*/}
    mv "$claimed" "${claimed%/*}/${name%%.*}"
  done
done
exec "$@"
