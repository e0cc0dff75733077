"""Jaeger's messages and services: `.proto` files of this project, and what `make proto` generates from them.

The names, numbers and types of packages, services, messages and fields are Jaeger's own; a process can therefore not
import other modules generated for the same packages beside these.
"""
