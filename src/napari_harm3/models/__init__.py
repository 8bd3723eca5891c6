"""Networks: tensors in, logits out; no files, no devices, no training."""
