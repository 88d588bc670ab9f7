"""The method of Faster R-CNN and Mask R-CNN, a thought a file: from anchors to detections."""
