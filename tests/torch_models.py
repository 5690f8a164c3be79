"""Small models and parameters of torch, always the same."""


def make_model(torch, dtype=None):
    """Make a small network with its data, always the same."""
    torch.manual_seed(0)
    layers = torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)
    model = torch.nn.Sequential(*layers).to(dtype or torch.float32)
    return model, torch.randn(64, 4), torch.randn(64, 1)


def loss_of(model, x, y):
    dtype = next(iter(model.parameters())).dtype
    return (model(x.to(dtype)) - y.to(dtype)).pow(2).mean()


def descend(optimizer, model, x, y, *, steps=50):
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(model, x, y).backward()
        optimizer.step()


def parameter(torch, values, grad=None, **options):
    p = torch.nn.Parameter(torch.tensor(values, **options))
    p.grad = None if grad is None else torch.tensor(grad, **options)
    return p
