"""Cookbook entry, hardware and model config -> serving configs. Imports neither torch nor sglang."""
