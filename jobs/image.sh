#!/usr/bin/env bash
# Builds the image of this checkout, and prints its tag:  jobs/image.sh [cpu|cuda] [TAG]
# With what builds images here: buildah, podman or docker ($BUILDER). The base is the Dockerfile's, or $BASE. Packages are fetched first, by
# this machine's own pip into wheels/, so that nothing of its settings gets into the build, which then needs no network.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
lock=${1:-cuda}
[ -f "requirements-$lock.lock.txt" ] || { echo "usage: jobs/image.sh [cpu|cuda] [TAG]" >&2; exit 2; }
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' smlmbatch/__init__.py)
tag=${2:-smlmbatch:$version-$lock}
builder=${BUILDER:-$(basename "$(command -v buildah || command -v podman || command -v docker || echo none)")}
[ "$builder" != none ] || { echo "no buildah, podman or docker here" >&2; exit 2; }

revision=$(git rev-parse HEAD)
[ -z "$(git status --porcelain --untracked-files=no)" ] || revision+="-changed"
seconds=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
created=$(date -u -d "@$seconds" +%Y-%m-%dT%H:%M:%SZ)

stamp=$(sha256sum < "requirements-$lock.lock.txt")
if [ "$(cat "wheels/stamp" 2> /dev/null)" != "$stamp" ]; then
  echo "fetching the packages of requirements-$lock.lock.txt (once)" >&2
  rm -f wheels/*.whl wheels/*.tar.gz wheels/stamp
  hashed=$(mktemp); trap 'rm -f "$hashed"' EXIT
  grep -v '^torch==' "requirements-$lock.lock.txt" > "$hashed"
  fetch() { "${PYTHON:-python3}" -m pip -q --disable-pip-version-check download --no-deps --no-build-isolation --dest wheels "$@"; }
  fetch --require-hashes -r "$hashed"
  fetch "$(grep '^torch==' "requirements-$lock.lock.txt")"
  echo "$stamp" > wheels/stamp
fi

options=(--build-arg "LOCK=$lock" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" --build-arg "CREATED=$created" --tag "$tag")
[ -z "${BASE:-}" ] || options+=(--build-arg "BASE=$BASE")
case $builder in
  buildah) build=(buildah bud --layers --timestamp "$seconds" --network none) ;;
  podman) build=(podman build --layers --timestamp "$seconds" --network none) ;;
  *) build=("$builder" build --build-arg "SOURCE_DATE_EPOCH=$seconds" --network none) ;;
esac
"${build[@]}" "${options[@]}" . >&2
echo "$tag"
