"""Tests of tiffin.http."""  # noqa: A005 - as the room
