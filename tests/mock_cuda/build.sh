#!/usr/bin/env bash
# build.sh PYTHON FOLDER: build the pretended CUDA runtime for a Python with a CUDA 13 build of torch, whose packages
# have the headers. Needs g++.
set -euo pipefail
python=$1 folder=$2
here=$(cd "$(dirname "$0")" && pwd)
packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
mkdir -p "$folder"
# The name lets torch's own libraries take it for the driver, too.
g++ -std=c++17 -O1 -Wall -Wextra -Wno-unused-parameter -fPIC -shared -Wl,-soname,libcuda.so.1 \
    -I"$packages/nvidia/cu13/include" -I"$packages/triton/backends/nvidia/include" \
    "$here"/runtime/*.cpp -o "$folder/libmockcuda.so"
