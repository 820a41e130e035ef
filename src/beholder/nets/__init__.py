"""Architectures and their initial weights: what a net is, how it is built, chosen, initialised and measured.

A net is a function (*, channels, size, classes, width, dropout) returning an `nn.Module` that maps
images float32 (B, C, H, W) to logits (B, K). Built-ins are rows of `names.NETS`; `timm:NAME` is any model of timm,
`module:function` is one of yours.
"""
