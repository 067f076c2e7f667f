#!/usr/bin/env bash
# Trains the pipeline zoo/camvid-lite0 from scratch; about two hours on one core. A stopped build goes on.
#   bash scripts/build_zoo.sh CAMVID_FOLDER [RUNS_FOLDER]
# CAMVID_FOLDER has train.txt, val.txt, images/ and masks/ (configs/data/camvid.yaml).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
data=${1:?usage: bash scripts/build_zoo.sh CAMVID_FOLDER [RUNS_FOLDER]}
runs=${2:-runs/zoo}
python=$here/.venv/bin/python
[ -x "$python" ] || bash "$here/scripts/setup.sh"

# stage OUT ARGUMENTS...: trains what is not trained yet.
stage() {
    local out=$runs/$1
    shift
    [ -f "$out/done" ] && return
    "$python" -m gss train "$@" data.root="$data" --out "$out" $([ -d "$out/checkpoints" ] && echo --resume)
    touch "$out/done"
}

mkdir -p "$runs"
stage posterior posterior camvid/posterior.yaml train.checkpoint_every=100
stage twin twin camvid/prior.yaml camvid/long.yaml posterior="$runs/posterior"
stage head prior camvid/prior.yaml camvid/head.yaml posterior="$runs/posterior" model.init_from="$runs/twin"
stage prior prior camvid/native.yaml posterior="$runs/posterior" model.init_from="$runs/head"
# Fewer neighbours and no ddu: the zoo has 10 MB for a pipeline.
stage density density data.spec=camvid pipeline="$runs/prior/pipeline" posthoc.bank_size=800 \
    posthoc.scores=sml,mahalanobis,mahalanobis++,knn,vim,combined
"$python" -m gss evaluate "$runs/density/pipeline" --data camvid --root "$data" --json "$runs/evaluation.json"
"$python" "$here/scripts/pack_zoo.py" "$runs/density/pipeline" camvid-lite0 --evaluation "$runs/evaluation.json"
