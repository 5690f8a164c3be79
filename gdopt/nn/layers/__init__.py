"""Layers: each returns its output and the function that runs it backwards.

A network is a chain of them, and needs nothing more::

    hidden, backprop1 = dense(x, W1, b1, d_W1, d_b1)
    active, backprop2 = relu(hidden)
    logits, backprop3 = dense(active, W2, b2, d_W2, d_b2)
    loss, gradient = softmax_cross_entropy(logits, labels)
    for backprop in (backprop3, backprop2, backprop1):
        gradient = backprop(gradient)
"""
