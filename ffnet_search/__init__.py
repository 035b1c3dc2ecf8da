"""ffnet-search: train a FFNet supernet once, measure your device, search under its latency budget, ship the front."""
