"""The machine: devices, memory, files written whole or not at all, torch's switches."""
