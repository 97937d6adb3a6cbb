#!/usr/bin/env bash
# Runs inside the build of the image: installs smlmbatch into /opt/smlmbatch, beside its packages, writes down which image this is, and
# compiles once what numba would else compile at each user's first run.  program.sh SOURCE NAME VERSION REVISION
set -euo pipefail
source=$1 name=$2 version=$3 revision=$4
export LC_ALL=C PYTHONHASHSEED=0 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
target=/opt/smlmbatch

/opt/tools/bin/python -m pip --python /opt/venv/bin/python -q install --no-deps --no-compile --no-index --no-build-isolation \
  --target "$target" "$source"
# The packages' environment knows this folder (packages.sh), so that its Python finds smlmbatch however it is started.
rm -rf "$target/bin"
mkdir "$target/bin"
printf '#!/opt/venv/bin/python -P\nfrom smlmbatch.__main__ import main\n\nmain()\n' > "$target/bin/smlmbatch"
chmod 755 "$target/bin/smlmbatch"
printf '{"name": "%s", "version": "%s", "revision": "%s"}\n' "$name" "$version" "$revision" > "$target/image.json"
/opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash "$target"

# Kernels for any processor with AVX2, as the command line pins it; `hpc.numerics` copies them to where a run may write.
work=$(mktemp -d)
export NUMBA_CACHE_DIR=$target/numba PATH=$target/bin:$PATH
smlmbatch simulate "$work/cells" --replicates 2 --cell-um 7 --density 100
smlmbatch run "$work/cells/input" "$work/cells/output" --merge-nm 40
smlmbatch cluster "$work/cells/output" --method dbscan --eps-nm 30 --min-locs 8
smlmbatch simulate "$work/pores" --particles pores3d --replicates 2 --count 30
printf '[order]\nepochs = 1\nbins = 4\n' > "$work/order.toml"
smlmbatch run "$work/pores/input" "$work/pores/output" --pick group --config "$work/order.toml"
rm -r "$work"
find "$target" -name '__pycache__' -empty -delete
