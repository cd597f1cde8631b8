"""SGLang's real model code on pretended CUDA tensors: no GPU, no weights."""
