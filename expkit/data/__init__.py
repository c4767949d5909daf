"""Data sources: each config function gives the same `Data`, whether from folders, a table or arrays."""

from expkit.data.arrays import ArrayImages, array, digits
from expkit.data.csv_table import csv
from expkit.data.files import ImageFiles
from expkit.data.folder_tree import folders
from expkit.data.imagenette import imagenette
from expkit.data.items import UNLABELLED, Data, Images
from expkit.data.oxford_pets import pets

__all__ = [
    "UNLABELLED",
    "ArrayImages",
    "Data",
    "ImageFiles",
    "Images",
    "array",
    "csv",
    "digits",
    "folders",
    "imagenette",
    "pets",
]
