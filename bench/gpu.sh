#!/bin/sh
# What a GPU is for, in under nine minutes: bench/gpu.py from a checkout, without anything installed. Arguments go to it.
#
# Needs python3 (PYTHON names another) with torch, torchvision and timm. Beholder itself is taken from src/; where it is not
# installed, a note of its version is made in a temporary folder, for bundles keep that. Nothing is written elsewhere.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
kept=$(mktemp -d)
trap 'rm -rf "$kept"' EXIT
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
mkdir -p "$kept/site/beholder-$version.dist-info"
printf 'Metadata-Version: 2.1\nName: beholder\nVersion: %s\n' "$version" > "$kept/site/beholder-$version.dist-info/METADATA"
export PYTHONPATH="src:.:$kept/site" PYTHONUNBUFFERED=1 BEHOLDER_CACHE="$kept/cache" TORCHINDUCTOR_CACHE_DIR="$kept/inductor"
for name in torch torchvision timm numpy PIL safetensors sklearn scipy yaml threadpoolctl; do
    "$python" -c "import importlib.util as u, sys; sys.exit(u.find_spec('$name') is None)" || lacks="${lacks:-} $name"
done
[ -z "${lacks:-}" ] || echo "not installed here:$lacks; parts that need it will say so" >&2
"$python" bench/gpu.py "$@"
