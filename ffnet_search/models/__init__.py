"""The network with shared weights, its mixers, and the form in which its sub-networks are deployed."""
