"""CRD from its definition, in numpy."""
import math


class Reference:
    """CRD in float64, one image and one negative at a time."""

    def __init__(self, loss):
        self.embeds = [(e.linear.weight.detach().numpy().copy(), e.linear.bias.detach().numpy().copy())
                       for e in (loss.embed_s, loss.embed_t)]
        memory = loss.contrast
        self.memories = [memory.memory_v1.numpy().copy(), memory.memory_v2.numpy().copy()]
        self.T, self.momentum, self.Z = memory.T, memory.momentum, [None, None]

    def embed(self, which, f):
        weight, bias = self.embeds[which]
        rows = [weight @ row + bias for row in f]
        return [row / math.sqrt(sum(row**2)) for row in rows]

    def step(self, f_s, f_t, idx):
        v = [self.embed(0, f_s), self.embed(1, f_t)]
        n, m, loss = len(self.memories[0]), idx.shape[1] - 1, 0.0
        for which in (0, 1):
            memory = self.memories[1 - which]
            scores = [[math.exp(float(v[which][i] @ memory[j]) / self.T) for j in row] for i, row in enumerate(idx)]
            if self.Z[which] is None:
                self.Z[which] = sum(map(sum, scores)) / (len(idx) * (m + 1)) * n
            for row in scores:
                p = [score / self.Z[which] for score in row]
                loss -= math.log(p[0] / (p[0] + m / n + 1e-7)) / len(idx)
                loss -= sum(math.log(m / n / (q + m / n + 1e-7)) for q in p[1:]) / len(idx)
        old = [memory.copy() for memory in self.memories]
        for which in (0, 1):
            for i, place in enumerate(idx[:, 0]):
                new = self.momentum * old[which][place] + (1 - self.momentum) * v[which][i]
                self.memories[which][place] = new / math.sqrt(sum(new**2))
        return loss
