"""What comes next in an array of your own?

python own_array.py FRAMES.npy FORECAST.npy
FRAMES.npy holds frames (T, H, W), 40 or more; FORECAST.npy will hold the 10 that follow.
"""

import sys

import numpy as np
import torch
import torch.nn.functional as F

from convlstm.networks import FrameFormat, NetworkConfig, build_network

source, target = sys.argv[1:]
array = torch.from_numpy(np.load(source)).float()
low, high = array.min(), array.max()
frames = ((array - low) / (high - low))[None, :, None]  # (1, T, 1, H, W), in [0, 1]
end = frames.shape[1] * 4 // 5  # the last fifth is for judging alone

config = NetworkConfig(hidden_channels=12, kernel_size=5, output="change")
network = build_network(config, FrameFormat(), torch.Generator().manual_seed(0))
optimizer = torch.optim.Adam(network.parameters(), lr=0.005)
draw = torch.Generator().manual_seed(1)
for _ in range(200):
    starts = torch.randint(end - 10, (4,), generator=draw).tolist()
    windows = torch.cat([frames[:, start : start + 11] for start in starts])
    loss = F.mse_loss(network(windows[:, :-1], horizon=1), windows[:, 1:])  # every next frame
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

unseen = range(end, frames.shape[1])
predicted = torch.cat([network.predict(frames[:, n - 8 : n], horizon=1) for n in unseen])[:, 0]
print("error", F.mse_loss(predicted, frames[0, end:]).item(), end=" ")
print("repeating the last frame", F.mse_loss(frames[0, end - 1 : -1], frames[0, end:]).item())
forecast = network.predict(frames[:, -20:], horizon=10)[0, :, 0] * (high - low) + low
np.save(target, forecast.numpy())
