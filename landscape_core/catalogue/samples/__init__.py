"""Data that ship with the package, so that everything can be tried without a network.

`fashion-mnist-sample.npz` is made by `recipes/make_fashion_mnist_sample.py`; its licence is `LICENSE-fashion-mnist.txt`.
`devils-dictionary.txt` is made by `recipes/make_token_sample.py` from Debian's package dict-devil: of Ambrose Bierce's Devil's
Dictionary (1911; he died in or about 1914), whose copyright has expired. `SOURCE-devils-dictionary.txt` says so beside it.
"""
