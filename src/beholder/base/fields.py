"""The sections of a recipe: frozen dataclasses whose fields say what values they take.

"auto" or 0 means: chosen from the data, the net and the machine, and said aloud with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from beholder.base.brief import changed
from beholder.base.choices import AUGMENTATIONS, OPTIMISERS, SCHEDULES


@dataclass(frozen=True, kw_only=True)
class DataRecipe:
    """From a source to batches.

    size: pixels of the training picture's side (0: chosen)      fit: auto | squash | pad | crop
    channels: 0 (chosen) | 1 | 3                                 augment: auto | none | light | standard | strong
    strength: factor on every range of the augmentation          on_bad: report | skip | stop
    background: colour under transparent and letter-boxed pixels val, test: their shares, where the source has no split
    audit: report (say what is found, leave contradictions out, resolve leaks) | fix (also exact duplicates: only
        what cannot be wrong) | relabel (follow every suggestion, outside the test part) | off
    decisions: path of a reviewed audit.csv ("": none): what a person decided there is done; what is undecided is not touched
    leaks: duplicates across given parts: drop (leave out the one in the earlier part) | move (into the later part)
    group_from: a regular expression; pictures in whose names it finds the same (a patient, a track) stay in one part ("": none)
    grow: side at which training pictures begin, as a share of the full one (0: chosen; 1: full size throughout)
    memory: MiB of decoded pixels that may stay in memory (0: a third of what is free)
    workers: threads that decode and that read batches ahead (0: one per core); like memory, it changes no batch
    order: the classes from the lowest to the highest, with commas between, for --task ordinal ("": by the numbers in them)
    pixels: most millions of pixels of one picture; larger JPEGs are scaled while they are decoded, all else is refused
    unlabelled: a source of pictures without labels ("": none), which join the training part where that helps
    synthetic: a source of made pictures with labels, or auto: made here ("": none); they join where that helps, too
    """

    size: int = field(default=0, metadata={"range": (0, 4096)})
    fit: str = field(default="auto", metadata={"choices": ("auto", "squash", "pad", "crop")})
    channels: int = field(default=0, metadata={"choices": (0, 1, 3)})
    augment: str = field(default="auto", metadata={"choices": ("auto",), "table": AUGMENTATIONS})
    strength: float = field(default=1.0, metadata={"range": (0.0, 4.0)})
    flip: str = field(default="auto", metadata={"choices": ("auto", "none", "horizontal", "both")})
    mixup: float = field(default=0.0, metadata={"range": (0.0, 10.0)})
    cutmix: float = field(default=0.0, metadata={"range": (0.0, 10.0)})
    grow: float = field(default=0.0, metadata={"range": (0.0, 1.0)})
    audit: str = field(default="report", metadata={"choices": ("report", "fix", "relabel", "off")})
    decisions: str = ""
    group_from: str = ""
    order: str = ""
    leaks: str = field(default="drop", metadata={"choices": ("drop", "move")})
    on_bad: str = field(default="report", metadata={"choices": ("report", "skip", "stop")})
    background: str = "#ffffff"
    val: float = field(default=0.15, metadata={"range": (0.01, 0.9)})
    test: float = field(default=0.15, metadata={"range": (0.01, 0.9)})
    memory: int = field(default=0, metadata={"range": (0, 1 << 24)})
    workers: int = field(default=0, metadata={"range": (0, 256)})
    pixels: int = field(default=100, metadata={"range": (1, 4000)})
    unlabelled: str = ""
    synthetic: str = ""

    __repr__ = changed


@dataclass(frozen=True, kw_only=True)
class NetRecipe:
    """Which net, and its initial weights.

    name: auto, a name of `beholder nets`, a name of timm (resnet50 is timm:resnet50), module:function of yours,
        or keras:module:function of a model of Keras
    weights: auto (for photos what comes with the install) | none | PATH: safetensors, or a folder in timm's local-dir form
    licence: permissive (pretrained weights of a non-commercial or other licence of its own are refused) | any
    init: auto | default | kaiming | xavier | orthogonal | lsuv | whitening | zero-residual
    width: factor on the number of channels of the nets that have that dial (0: chosen)
    enlarge: side in pixels to which a net of timm enlarges smaller pictures (0: it sees them as they are)
    """

    name: str = "auto"
    weights: str = "auto"
    licence: str = field(default="permissive", metadata={"choices": ("permissive", "any")})
    init: str = "auto"
    width: float = field(default=0.0, metadata={"range": (0.0, 16.0)})
    dropout: float = field(default=0.0, metadata={"range": (0.0, 0.95)})
    enlarge: int = field(default=0, metadata={"range": (0, 1024)})

    __repr__ = changed


@dataclass(frozen=True, kw_only=True)
class TrainRecipe:
    """How it learns.

    epochs, batch, lr: 0 = chosen                                minutes: wall-clock budget (0: none)
    micro: most pictures of a batch that a process computes at a time; gradients are summed over the batch (0: all at once)
    optimiser: auto | sgd | adam | adamw | muon | sphere         schedule: auto | constant | cosine | onecycle | trapezoid
    precision: auto | fp32 | bf16 | fp16                         averaging: decay of the weights' moving average (0: off)
    class_weights: none | balanced                               clip: largest norm of the gradient (0: off)
    patience: epochs without a better validation score before stopping early (0: never)
    effort: factor on the number of epochs that is chosen
    freeze: with pretrained weights, share of the layers, from the pixels on, that stay as they are (below 0: chosen)
    layer_decay: with pretrained weights, factor on the rate from each layer to the one below it (0: chosen)
    compile: auto | yes | no, by torch.compile; auto: on a GPU, if it pays
    objective: the score on validation by which weights, heads and candidates are chosen: auto (the task's own) | accuracy |
        macro_f1 | balanced_accuracy | auroc | map | micro_f1 | sensitivity@S (the sensitivity at a specificity of S) |
        specificity@S | …, as the task has them
    probe: with pretrained weights, first fit a linear head on frozen features, which fine-tuning then has to beat
    teacher: path of a bundle whose probabilities are learnt beside the labels ("": none); teacher_weight: their share of the
        loss; temperature: at which both are softened
    subset: off | random:F (a new share F of the pictures an epoch) | prune:F (this share of those with a low loss is left out)
    """

    epochs: int = field(default=0, metadata={"range": (0, 100_000)})
    effort: float = field(default=1.0, metadata={"range": (0.01, 100.0)})
    minutes: float = field(default=0.0, metadata={"range": (0.0, 1e6)})
    batch: int = field(default=0, metadata={"range": (0, 1 << 16)})
    micro: int = field(default=0, metadata={"range": (0, 1 << 16)})
    lr: float = field(default=0.0, metadata={"range": (0.0, 100.0)})
    optimiser: str = field(default="auto", metadata={"choices": ("auto",), "table": OPTIMISERS})
    schedule: str = field(default="auto", metadata={"choices": ("auto",), "table": SCHEDULES})
    momentum: float = field(default=0.9, metadata={"range": (0.0, 0.9999)})
    weight_decay: float = field(default=-1.0, metadata={"range": (-1.0, 10.0)})
    smoothing: float = field(default=0.1, metadata={"range": (0.0, 0.9)})
    class_weights: str = field(default="none", metadata={"choices": ("none", "balanced")})
    clip: float = field(default=0.0, metadata={"range": (0.0, 1e6)})
    averaging: float = field(default=0.999, metadata={"range": (0.0, 0.99999)})
    objective: str = "auto"
    patience: int = field(default=0, metadata={"range": (0, 100_000)})
    precision: str = field(default="auto", metadata={"choices": ("auto", "fp32", "bf16", "fp16")})
    freeze: float = field(default=-1.0, metadata={"range": (-1.0, 1.0)})
    layer_decay: float = field(default=0.0, metadata={"range": (0.0, 1.0)})
    compile: str = field(default="auto", metadata={"choices": ("auto", "yes", "no")})
    probe: bool = True
    mirror: bool = True
    teacher: str = ""
    teacher_weight: float = field(default=0.5, metadata={"range": (0.0, 1.0)})
    temperature: float = field(default=2.0, metadata={"range": (0.1, 100.0)})
    subset: str = field(default="off", metadata={"pattern": r"off|(random|prune):0?\.[0-9]{0,6}[1-9]"})

    __repr__ = changed


@dataclass(frozen=True, kw_only=True)
class TestRecipe:
    """What is fitted on the validation part once the weights are chosen, and then tested.

    calibrate: auto (what proves itself on held-out validation pictures) | none | temperature | vector
    coverage: how often a picture's prediction set holds the right class (0: no sets)
    sets: least (the smallest, may be empty) | adaptive (always hold the prediction)
    per_class: a promise for each class by itself
    target_risk: answer only where at most this share of answers is wrong: selective prediction (0: answer always)
    sensitivity: share of the class `positive` that has to be found (0: no such threshold)
    positive: that class, and the one that train.objective = sensitivity@S or specificity@S is of ("": the mean over all)
    confidence: the level at which the promises of target_risk and sensitivity hold
    """

    __test__ = False

    calibrate: str = field(default="auto", metadata={"choices": ("auto", "none", "temperature", "vector")})
    coverage: float = field(default=0.95, metadata={"range": (0.0, 0.9999)})
    sets: str = field(default="least", metadata={"choices": ("least", "adaptive")})
    per_class: bool = False
    target_risk: float = field(default=0.0, metadata={"range": (0.0, 0.9999)})
    sensitivity: float = field(default=0.0, metadata={"range": (0.0, 0.9999)})
    positive: str = ""
    confidence: float = field(default=0.95, metadata={"range": (0.5, 0.9999)})

    __repr__ = changed


@dataclass(frozen=True, kw_only=True)
class GenerateRecipe:
    """How `generate` learns to make pictures; no other verb uses these fields.

    kind: vae | gan                                   maps: channels of the nets at the largest size (0: chosen)
    likelihood: of a VAE's pixels: logistic (8-bit, discretised) | bernoulli (pixels cut at middle grey)
    beta: weight of a VAE's divergence                 penalty: γ of a GAN's gradient penalties R1 and R2
    vary: whether a GAN's pictures are varied before they are judged: auto (below 20,000 training pictures) | yes | no
    """

    kind: str = field(default="vae", metadata={"choices": ("vae", "gan")})
    maps: int = field(default=0, metadata={"range": (0, 512)})
    likelihood: str = field(default="logistic", metadata={"choices": ("logistic", "bernoulli")})
    beta: float = field(default=1.0, metadata={"range": (0.0, 100.0)})
    penalty: float = field(default=0.1, metadata={"range": (0.0, 1000.0)})
    vary: str = field(default="auto", metadata={"choices": ("auto", "yes", "no")})

    __repr__ = changed


@dataclass(frozen=True, kw_only=True)
class DetectRecipe:
    """How a detector is trained on pictures with boxes; no other task uses these fields.

    pyramid: channels of its feature pyramid and head  depth: convolutions of each of the head's two towers
    views: of each picture that the frozen backbone looks at, before all is trained (0: chosen; below 0: none, all at once)
    overlap: of two found boxes of one class that overlap by more, the surer stays
    most: boxes of a picture, at most
    balance: power of its rarity with which a class counts in the loss (0: every box alike; 1: every class)
    """

    pyramid: int = field(default=96, metadata={"range": (8, 512)})
    depth: int = field(default=2, metadata={"range": (0, 8)})
    views: int = field(default=0, metadata={"range": (-1, 1000)})
    overlap: float = field(default=0.6, metadata={"range": (0.05, 0.95)})
    most: int = field(default=100, metadata={"range": (1, 2000)})
    balance: float = field(default=0.5, metadata={"range": (0.0, 1.0)})

    __repr__ = changed
