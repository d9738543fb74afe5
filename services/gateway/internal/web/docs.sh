#!/bin/sh
# Fetches the files of Swagger UI that the page at /docs uses, from npm.
# With a folder as its argument it puts them there instead.
set -eu
cd "$(dirname "$0")"
version=5.35.0
into=$(cd "${1:-docs}" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
npm pack --silent "swagger-ui-dist@$version" >/dev/null
tar -xzf "swagger-ui-dist-$version.tgz"
cd package
for file in swagger-ui-bundle.js swagger-ui.css; do
  gzip -9nc "$file" >"$into/$file.gz"
done
{ cat NOTICE && echo && cat LICENSE && echo && cat swagger-ui-bundle.js.LICENSE.txt; } >"$into/licences.txt"
