"""Photographs and masks in and out of image files, and pictures for people."""
