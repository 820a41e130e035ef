"""What other tools call the fields of a recipe: for hints, never in the place of the name."""

from __future__ import annotations

SYNONYMS = {
    "net.name": "model network backbone arch architecture",
    "net.weights": "pretrained checkpoint pretrained_weights init_weights",
    "net.licence": "license",
    "net.dropout": "drop drop_rate",
    "train.epochs": "n_epochs num_epochs max_epochs nb_epoch epoch",
    "train.batch": "batch_size batchsize bs",
    "train.lr": "learning_rate learn_rate lr0 base_lr",
    "train.minutes": "time time_limit budget max_time time_budget",
    "train.optimiser": "optimizer optim solver",
    "train.schedule": "scheduler lr_scheduler lr_schedule",
    "train.weight_decay": "wd decay l2",
    "train.smoothing": "label_smoothing",
    "train.class_weights": "class_weight weighted",
    "train.clip": "grad_clip clip_grad gradient_clip max_norm",
    "train.averaging": "ema model_ema",
    "train.objective": "metric eval_metric monitor",
    "train.patience": "early_stopping early_stop",
    "train.precision": "amp mixed_precision half dtype",
    "train.mirror": "tta",
    "train.teacher": "teacher_model distill distillation distil",
    "data.unlabelled": "unlabeled semi_supervised pseudo_labels",
    "data.size": "img_size image_size imgsz input_size resolution resize target_size",
    "data.augment": "augmentation augmentations aug transform transforms",
    "data.val": "val_split val_size validation validation_split valid_size",
    "data.test": "test_size test_split",
    "data.workers": "num_workers n_workers threads n_jobs",
    "data.flip": "hflip flips fliplr",
    "seed": "random_state random_seed",
}
"""Path of a field → what other tools call it, several words a field."""


def synonym(word: str) -> str:
    """Return the path of the field that other tools call `word`, in any spelling such as batch-size; "" for none."""
    plain = word.rpartition(".")[2].lower().replace("-", "_")
    return next((path for path, words in SYNONYMS.items() if plain in words.split()), "")
