"""Training epochs in one persistent kernel on CUDA: for steps so small that launches take most of their time.

A step is traced once (`trace`), its operations are shared among phases with a barrier between them (`plan`), written
as a kernel (`source`), compiled, checked against the step, and launched once for many epochs (`launch`). The kernel is
made of what the step calls and knows no network: a step with an operation that it has no counterpart for, or that is
too large to gain, runs as CUDA graphs.
"""
