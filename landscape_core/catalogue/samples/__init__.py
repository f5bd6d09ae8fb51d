"""Data that ship with the package, so that everything can be tried without a network.

`fashion-mnist-sample.npz` is made by `recipes/make_fashion_mnist_sample.py`; its licence is `LICENSE-fashion-mnist.txt`.
"""
