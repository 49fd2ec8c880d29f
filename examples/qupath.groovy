// Puts dermseg's outlines into QuPath (0.4 and later), classified as "lesion".
//
//     dermseg segment photographs -o masks --form geojson
//
// Make a project of the photographs, open this script in the script editor, name the folder below,
// and choose "Run for project". Annotations of this class, of an earlier run, are replaced.

def folder = "masks/geojson"
def label = "lesion"

def name = GeneralTools.getNameWithoutExtension(getCurrentServer().getMetadata().getName())
def file = new File(folder, name + ".geojson")
if (!file.exists()) {
    println "No outline: " + file
    return
}
removeObjects(getAnnotationObjects().findAll { it.getPathClass() == getPathClass(label) }, true)
importObjectsFromFile(file.getAbsolutePath())

def size = getCurrentServer().getPixelCalibration().getPixelWidthMicrons()
getAnnotationObjects().findAll { it.getPathClass() == getPathClass(label) }.each {
    def area = it.getROI().getArea()
    println name + ": " + area + " pixels" + (Double.isNaN(size) ? "" : ", " + area * size * size / 1e6 + " mm2")
}
