#!/usr/bin/env bash
# Runs inside the build of the image: makes /opt/venv of a lock file, without what only developers need, and /system, what the
# shipped stage has besides its base.  packages.sh LOCK WHEELS [INDEX]
set -euo pipefail
lock=$1 wheels=$2 index=${3:-}
export LC_ALL=C PYTHONHASHSEED=0 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

if ! python3 -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends python3 python3-venv
fi
# pip stays in an environment of its own, which is not shipped.
python3 -m venv /opt/tools
python3 -m venv --without-pip /opt/venv
pip() { /opt/tools/bin/python -m pip --python /opt/venv/bin/python -q "$@"; }
from=()
if compgen -G "$wheels/*.whl" > /dev/null; then from=(--no-index --find-links "$wheels"); fi
[ -z "$index" ] || from+=(--extra-index-url "$index")

# Every package but torch is held to its hash (its CPU and CUDA builds share one pin), as in jobs/install.sh.
grep -v '^torch==' "$lock" > /build/hashed.txt
# setuptools first, from the lock too: what comes as source is built with it.
awk '/^setuptools==/ {on = 1} on {print} on && !/\\$/ {exit}' /build/hashed.txt > /build/first.txt
for list in first hashed; do
  pip install --no-deps --no-compile --require-hashes --use-pep517 --no-build-isolation "${from[@]}" -r "/build/$list.txt"
done
pip install --no-deps --no-compile "${from[@]}" "$(grep '^torch==' "$lock")"

# Tests of packages, headers, static libraries, and pieces that nothing here calls: 0.35 GB.
cd /opt/venv/lib/python3*/site-packages
find . -type d \( -name tests -o -name test \) -prune -exec rm -rf {} +
find . -type f \( -name '*.a' -o -name '*.lib' -o -name '*.pyx' -o -name '*.pxi' -o -name '*.c' -o -name '*.cpp' -o -name '*.h' \) -delete
rm -rf torch/include torch/share pyarrow/include pyarrow/src
find torch/bin -type f ! -name torch_shm_manager -delete
rm -rf pyarrow/{libarrow_flight,libarrow_python_flight,_flight,_s3fs,libarrow_s3}*.so* matplotlib/mpl-data/sample_data

echo /opt/smlmbatch > smlmbatch.pth # where program.sh installs smlmbatch itself

# Bytecode that is believed without a look at its source: the same in every build, and quick to load where stat is slow.
# Only what this Python can't read may be left without: torch carries tests for newer ones.
/opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash -x '/py3[0-9]+_' .

# Bytecode of Python's own library: some bases ship none, and a read-only image can't keep any.
library=$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
mkdir -p /system
if [ ! -d "$library/__pycache__" ]; then
  python3 -m compileall -q --invalidation-mode unchecked-hash -x '/(test|tests|site-packages|dist-packages|lib2to3|idlelib)/' "$library"
  (cd / && find ".$library" -name '__pycache__' -not -path '*/site-packages/*' -print0 | tar --null -T - -cf - | tar -xf - -C /system)
fi
# A user who is nobody in particular, and folders for binds, for sites whose runtime can't make them.
mkdir -p /system/{etc,input,output,data,scratch,work}
{ cat /etc/passwd; echo 'smlmbatch:x:1000:1000:smlmbatch:/nonexistent:/usr/sbin/nologin'; } > /system/etc/passwd
{ cat /etc/group; echo 'smlmbatch:x:1000:'; } > /system/etc/group
