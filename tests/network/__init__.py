"""Tests of the room of packets."""
