"""What somebody writes to train PyG's GCN on one graph and see its accuracy: startup.py times this, whole.

python pyg_script.py GRAPH.npz
"""

import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch_geometric.nn import GCN

file = np.load(sys.argv[1])
nodes, width = (int(n) for n in (len(file["labels"]), file["features.shape"][1]))
x = torch.zeros(nodes, width)
rows = np.repeat(np.arange(nodes), np.diff(file["features.indptr"]))
x[rows, file["features.indices"]] = torch.tensor(file["features.data"], dtype=torch.float32)
x = x / x.sum(dim=1, keepdim=True).clamp(min=1)
targets = np.repeat(np.arange(nodes), np.diff(file["adjacency.indptr"]))
edges = torch.tensor(np.stack([file["adjacency.indices"], targets]).astype(np.int64))
y = torch.tensor(file["labels"])
split = {name: torch.tensor(file[name]) for name in ("train", "val", "test")}

torch.manual_seed(0)
model = GCN(width, 16, 2, int(file["classes"]), dropout=0.5, cached=True)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
history: list[float] = []
for epoch in range(200):
    model.train()
    optimizer.zero_grad()
    F.cross_entropy(model(x, edges)[split["train"]], y[split["train"]]).backward()
    optimizer.step()
    model.eval()
    with torch.no_grad():
        history.append(F.cross_entropy(model(x, edges)[split["val"]], y[split["val"]]).item())
    if epoch >= 100 and epoch - min(range(len(history)), key=history.__getitem__) >= 10:
        break
model.eval()
with torch.no_grad():
    guess = model(x, edges)[split["test"]].argmax(dim=1)
print(float((guess == y[split["test"]]).float().mean()))
